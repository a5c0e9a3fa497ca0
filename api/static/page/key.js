// Asks for an API key where the service wants one.

import { onKeyNeeded } from "./service.js";

const $ = (id) => document.getElementById(id);

function askForKey(refused) {
  const form = $("key-form");
  form.hidden = false;
  $("key-hint").textContent = refused ? "That key is not accepted." : "Kept in this tab only.";
  $("key").focus();
  return new Promise((done) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      form.hidden = true;
      done($("key").value.trim());
      $("key").value = "";
    }, { once: true });
  });
}

onKeyNeeded(askForKey);
