#!/usr/bin/env bash
# Proposes the candidate of this workflow run as a pull request, if `make retrain` found it better.
# Needs gh, GH_TOKEN (contents, pull requests: write; actions: read), GITHUB_RUN_ID, GITHUB_REPOSITORY.
set -euo pipefail
: "${GITHUB_RUN_ID:?}" "${GITHUB_REPOSITORY:?}" "${GH_TOKEN:?}"
came=$(mktemp -d)
trap 'rm -rf "$came"' EXIT
gh run download "$GITHUB_RUN_ID" --repo "$GITHUB_REPOSITORY" --name candidate --dir "$came"
verdict="$came/.data/retrain/retrain.json"
# Read as a value and compared: nothing of the file is ever run.
decision=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["decision"])' "$verdict")
if [ "$decision" != better ]; then
  echo "the candidate is: $decision; nothing to propose"
  exit 0
fi
branch="retrain/$GITHUB_RUN_ID"
git switch --quiet --create "$branch"
# What the pipeline makes and git keeps; whatever else an artifact could hold stays outside.
rm -rf ckpts
cp -R "$came/ckpts" "$came/pipeline" "$came/dvc.lock" .
git add --all -- ckpts pipeline dvc.lock
if git diff --cached --quiet; then
  echo "the candidate is in git already; nothing to propose"
  exit 0
fi
git -c user.name=retrain -c user.email=retrain@users.noreply.github.com \
  commit --quiet --message "A candidate that is better than the champion"
# The token stays in the environment: not in a URL, not in the repository's configuration.
git -c credential.helper= -c 'credential.helper=!gh auth git-credential' \
  push --quiet "https://github.com/$GITHUB_REPOSITORY.git" "HEAD:refs/heads/$branch"
gh pr create --repo "$GITHUB_REPOSITORY" --head "$branch" \
  --title "Retrained: better than the champion" --body-file "$came/.data/retrain/retrain.md"
