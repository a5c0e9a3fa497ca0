"""All settings, from the environment, `.env` or files of secrets; only this place reads them."""

from __future__ import annotations

from base64 import b64decode
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _plain(name: str) -> AliasChoices:
    """A name people already use without our prefix, next to the prefixed one."""
    return AliasChoices(name, f"SCRATCH_{name}")


def _listed(value: SecretStr) -> list[str]:
    return [part.strip() for part in value.get_secret_value().split(",") if part.strip()]


class Settings(BaseSettings):
    """Prefix `SCRATCH_`, but for the names people already use: `REDIS_URL`, `PORT`, `ALERT_*`."""

    model_config = SettingsConfigDict(
        env_prefix="SCRATCH_",
        env_file=".env",
        extra="ignore",
        populate_by_name=True,
        frozen=True,
        hide_input_in_errors=True,
    )

    # --- where things are
    #: uploads, records, results, and the queue unless `SCRATCH_BROKER_URL` says other
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0", validation_alias=_plain("REDIS_URL"), repr=False
    )
    #: queue elsewhere than in Redis: `amqp://user:password@host:5672/vhost`; empty: in Redis
    broker_url: str = Field("", repr=False)
    #: where api, worker metrics and Flower listen
    host: str = "127.0.0.1"
    #: `auto`: with API keys where there is a file of them, without on loopback, else no start
    auth: Literal["auto", "keys", "off"] = "auto"
    #: hashes of API keys by name, written by `scratch keys`; by default `api-keys` in `data_dir`
    api_keys_file: Path | None = None
    #: the key that `scratch submit` sends
    api_key: SecretStr = SecretStr("")
    #: `user:password`; without it Flower listens on loopback only
    flower_auth: SecretStr = SecretStr("")
    port: int = Field(8000, ge=1, le=65535, validation_alias=_plain("PORT"))
    flower_port: int = Field(5555, ge=1, le=65535, validation_alias=_plain("FLOWER_PORT"))
    #: where a worker serves its Prometheus metrics, on `host`; 0 for nowhere
    metrics_port: int = Field(0, ge=0, le=65535)
    #: OpenTelemetry collector, OTLP over HTTP; empty: no traces
    otel_endpoint: str = Field("", validation_alias=_plain("OTEL_EXPORTER_OTLP_ENDPOINT"))
    #: where files named as variables may hold their values, such as `redis_url`: so containers get
    #: their secrets. The environment and `.env` win
    secrets_dir: Path = Path("/run/secrets")
    #: Redis files of the embedded stack
    data_dir: Path = Path(".data")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    # --- model
    #: what a worker serves until a champion is promoted
    ckpt: Path = Path("ckpts/scratch-lite")
    #: where each worker finds promoted checkpoints, by their names
    ckpts: Path = Path("ckpts")
    #: `auto`: torch where there is a GPU, else OpenVINO
    runtime: Literal["auto", "openvino", "torch"] = "auto"
    #: `auto`: on a CPU int8, bf16 or f32, the fastest that the processor has, the checkpoint was
    #: measured in and reproduces its golden answers with
    precision: Literal["auto", "f32", "bf16", "f16", "int8"] = "auto"
    #: inference threads; 0: one for each core
    threads: int = Field(0, ge=0)
    #: forward passes beside one another on a CPU; 0: one for each core, at most 4; with a heavy
    #: model, 1 answers a lone photo soonest
    streams: int = Field(0, ge=0, le=64)
    #: images in one forward pass; 0: what suits the runtime
    max_batch: int = Field(0, ge=0, le=256)
    #: task threads of one worker process, whatever `celery --concurrency` says; 0: twice what its
    #: first model takes at a time, at most 32
    concurrency: int = Field(0, ge=0, le=256)
    #: a forward pass that takes longer ends the worker, so that its supervisor starts a sound one
    batch_timeout_s: float = Field(60, gt=0)

    #: where training records runs; empty is a file of our own in `data_dir`
    mlflow_tracking_uri: str = Field("", validation_alias=_plain("MLFLOW_TRACKING_URI"), repr=False)

    # --- limits
    #: uploads of one client, by key or address: such as `600/minute`, or `off`;
    #: `auto` is 1200/minute where others than this machine can reach us
    rate_limit: str = Field("auto", pattern=r"^(auto|off|[1-9]\d{0,8}/(second|minute|hour|day))$")
    #: at once; more are answered 503
    max_connections: int = Field(1000, ge=1)
    #: a request that sends nothing for so long is given up
    receive_timeout_s: float = Field(20, gt=0)
    #: bytes a second, averaged over an upload, its first `receive_timeout_s` left aside
    receive_min_rate: int = Field(4096, ge=1)
    #: of one file
    upload_max_bytes: int = Field(32 * 2**20, ge=1)
    batch_max_files: int = Field(200, ge=1)
    #: of one image, width times height
    image_max_pixels: int = Field(50_000_000, ge=1)
    image_max_side: int = Field(20_000, ge=1)
    #: accepted and unfinished tasks; one more upload is refused with 503
    queue_limit: int = Field(1000, ge=1)
    #: memory of the embedded Redis: uploads, queue and results; above nine tenths, 503
    redis_max_bytes: int = Field(2**30, ge=2**26)
    #: how long `POST /upload_image` waits before it answers 202
    wait_s: float = Field(30, ge=0)
    #: the longest `?wait=`
    wait_max_s: float = Field(120, ge=0)
    #: a task that has not finished by then is a recorded failure
    task_deadline_s: float = Field(300, gt=0)
    #: how long results are kept
    result_ttl_s: int = Field(3600, ge=1)
    #: how soon an unanswered task is sent again once others that were sent later are taken up:
    #: a dead worker's, for one
    resend_after_s: float = Field(30, ge=1)
    #: a task taken up more often than this has killed its workers and is a recorded failure
    max_deliveries: int = Field(3, ge=1)

    # --- history and feedback
    #: days for which answered images, their answers and embeddings are kept; 0: not at all
    history_days: float = Field(0, ge=0)
    #: days for which images that people have labelled are kept; empty: until they are deleted
    labelled_days: float | None = Field(None, gt=0)
    #: of kept images; beyond it the oldest unlabelled ones go before their time
    history_max_bytes: int = Field(10 * 2**30, ge=0)
    #: answers and labels: `postgresql://user:password@host/database`; empty: SQLite in `data_dir`
    history_url: str = Field("", repr=False)
    #: images: a folder, `s3://bucket/prefix` or `gs://bucket/prefix`; empty: in `data_dir`
    history_files: str = ""
    #: names of API keys, separated by commas, that may look through kept images and label them;
    #: `*`: every key. Without keys everybody may
    reviewers: str = ""

    # --- drift
    #: photos of a window that is held against what the checkpoint learned from; 0: no watch
    drift_window: int = Field(256, ge=0)
    #: seconds after which a window closes with fewer, if it has 60
    drift_window_s: float = Field(3600, gt=0)

    # --- log and alerts
    #: one JSON line for each inspected image
    inference_log: Path = Path("inference_log.txt")
    inference_log_max_bytes: int = Field(50 * 2**20, ge=1024)
    inference_log_backups: int = Field(5, ge=1)
    #: who sends; mails go out when this, the app password and `ALERT_TO` are set
    alert_email: str = Field("", validation_alias=_plain("ALERT_EMAIL"))
    alert_app_password: SecretStr = Field(
        SecretStr(""), validation_alias=_plain("ALERT_APP_PASSWORD")
    )
    #: one address or several, separated by commas
    alert_to: str = Field("", validation_alias=_plain("ALERT_TO"))
    smtp_host: str = "smtp.gmail.com"
    smtp_port: int = Field(465, ge=1, le=65535)
    #: `tls` from the first byte (port 465) or `starttls` (port 587); never plain
    smtp_security: Literal["tls", "starttls"] = "tls"
    #: extra certificate authority for SMTP, PEM
    smtp_ca_file: Path | None = None
    #: equal errors within this window go out as one mail
    alert_window_s: float = Field(60, gt=0)
    alert_max_per_hour: int = Field(20, ge=1)
    #: where people reach the api, such as `https://scratch.example`: alert mails then have links by
    #: which to say what a photo shows
    public_url: str = Field("", pattern=r"^(https?://[^\s?#]+)?$")

    # --- webhooks
    #: signs what is sent to an upload's `callback_url`; without it such uploads are refused.
    #: `whsec_` and 24 to 64 random bytes in base64; of several, separated by commas, each signs
    webhook_secret: SecretStr = SecretStr("")
    #: networks that callbacks may reach although they are private, there also by plain http:
    #: `10.20.0.0/16,127.0.0.1/32`
    webhook_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    #: for one attempt, from looking up the name to the receiver's answer
    webhook_timeout_s: float = Field(10, gt=0)
    #: before the second attempt; doubles with each, up to an hour, with jitter
    webhook_retry_s: float = Field(5, gt=0)
    #: after which what the receiver has not taken is given up
    webhook_give_up_s: int = Field(86_400, ge=1)
    #: callbacks that wait, for answers or for receivers; uploads with one more are refused
    webhook_limit: int = Field(10_000, ge=1)

    @field_validator("webhook_networks", mode="before")
    @classmethod
    def _separated_by_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _standard_webhooks_secret(cls, value: SecretStr) -> SecretStr:
        for secret in _listed(value):
            try:
                key = b64decode(secret.removeprefix("whsec_"), validate=True)
            except ValueError:
                key = b""
            if not 24 <= len(key) <= 64:
                raise ValueError("must be whsec_ and 24 to 64 bytes in base64")
        return value

    @field_validator("labelled_days", mode="before")
    @classmethod
    def _empty_is_for_ever(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("alert_app_password")
    @classmethod
    def _no_placeholder(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value().lower() in {"changeme", "password", "xxxx xxxx xxxx xxxx"}:
            raise ValueError("is a placeholder; leave it empty to switch alerts off")
        return value

    @field_validator("flower_auth")
    @classmethod
    def _user_and_password(cls, value: SecretStr) -> SecretStr:
        user, _, password = value.get_secret_value().partition(":")
        if value and not (user and password and "," not in password):
            raise ValueError("must be user:password, without a comma")
        return value

    @model_validator(mode="after")
    def _deadline_covers_wait(self) -> Self:
        if self.task_deadline_s < self.wait_s:
            raise ValueError("SCRATCH_TASK_DEADLINE_S must not be shorter than SCRATCH_WAIT_S")
        return self

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach us."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def upload_limit(self) -> str | None:
        """Uploads of one client in a time, such as `600/minute`; None: no limit."""
        limit = self.rate_limit
        if limit == "auto":
            limit = "off" if self.on_loopback else "1200/minute"
        return None if limit == "off" else limit

    @property
    def keys_file(self) -> Path:
        return self.api_keys_file or self.data_dir / "api-keys"

    @property
    def reviewer_names(self) -> set[str]:
        return {name.strip() for name in self.reviewers.split(",")}

    @property
    def flower_host(self) -> str:
        return self.host if self.flower_auth or self.on_loopback else "127.0.0.1"

    @property
    def webhook_secrets(self) -> list[str]:
        return _listed(self.webhook_secret)

    @property
    def callback_ttl_s(self) -> int:
        """As long as a callback is tried, counted from its upload."""
        return self.record_ttl_s + self.webhook_give_up_s

    @property
    def alerts_on(self) -> bool:
        return bool(
            self.alert_email and self.alert_app_password.get_secret_value() and self.alert_to
        )

    @property
    def record_ttl_s(self) -> int:
        """A record outlives its result: the deadline, then as long as results are kept."""
        return int(self.task_deadline_s) + self.result_ttl_s


@lru_cache
def get_settings() -> Settings:
    settings = Settings()
    folder = settings.secrets_dir
    return Settings(_secrets_dir=folder) if folder.is_dir() else settings
