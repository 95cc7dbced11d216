"""Settings: every variable is read here, defaults to what works on one machine, and fails loudly when wrong.

docs/settings.md holds the table of variables; a test compares it with this file.
"""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"

env = environ.Env()

STATE_DIR = Path(env.str("STATE_DIR", default=str(BASE_DIR / ".state"))).resolve()
STATE_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)


def _secret_key() -> str:
    """Return the key from the environment, else from a file that only the owner can read, made once."""
    import os
    import secrets

    given = env.str("SECRET_KEY", default="")
    if given:
        return given
    path = STATE_DIR / "secret-key"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_urlsafe(50))
    return path.read_text().strip()


def _positive(name: str, default: int) -> int:
    text = env.str(name, default=str(default))
    if not text.isdigit() or int(text) == 0:
        raise ImproperlyConfigured(f"{name} is {text!r}: expected a whole number above 0")
    return int(text)


SECRET_KEY = _secret_key()
DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
HISTORY_DIR = Path(env.str("HISTORY_DIR", default=str(STATE_DIR / "history"))).resolve()
RESULTS_DIR = Path(env.str("RESULTS_DIR", default=str(STATE_DIR / "results"))).resolve()
REDIS_URL = env.str("REDIS_URL", default=f"unix://{STATE_DIR}/redis.sock")
HTTPS = env.bool("HTTPS", default=False)
SLOTS = _positive("SLOTS", 8)
RUNNER_MEMORY_MB = _positive("RUNNER_MEMORY_MB", 768)
RUNNER_MEMORY_MAX_MB = _positive("RUNNER_MEMORY_MAX_MB", max(8192, RUNNER_MEMORY_MB))
RESUME_LIMIT = _positive("RESUME_LIMIT", 5)
RESULT_BYTES = _positive("RESULT_MB", 32) * 2**20
UPLOAD_BYTES = _positive("UPLOAD_MB", 512) * 2**20
PROCESSOR_PACKAGES = env.list("PROCESSOR_PACKAGES", default=["processors"])
PROCESSORS_FILE = Path(env.str("PROCESSORS_FILE", default=str(BASE_DIR / "processors.toml")))
# How a process opens the history (tasks_app.history).
MONGODB_URL = env.str("MONGODB_URL", default="")
HISTORY = {"store": "mongodb"} if MONGODB_URL else {"store": "parquet", "path": str(HISTORY_DIR)}

INSTALLED_APPS = [
    "platform_site.apps.SiteConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "knox",
    "axes",
    "channels",
    "tasks_app",
]
MIDDLEWARE = [
    "tasks_app.audit.remember_origin",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "platform_site.urls"
ASGI_APPLICATION = "platform_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": env.db_url("DATABASE_URL", default=f"sqlite:///{STATE_DIR}/platform.sqlite3")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Many processes write: wait for the lock, and take it at a transaction's begin rather than in its middle.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 15,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
if MONGODB_URL:
    # Not 30 s: a task that stores waits and asks again, a page says that the server does not answer.
    limits = {"serverSelectionTimeoutMS": 3_000, "connectTimeoutMS": 3_000, "socketTimeoutMS": 20_000}
    DATABASES["history"] = {
        "ENGINE": "tasks_app.history_mongo",
        "NAME": urlsplit(MONGODB_URL).path.strip("/") or "stock_history",
        "ENFORCE_SCHEMA": False,
        "CLIENT": {"host": MONGODB_URL, **limits},
    }
    DATABASE_ROUTERS = ["tasks_app.history_mongo.router.NoModels"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "tasks_app.roles.RoleBackend",
    "django.contrib.auth.backends.ModelBackend",
]
# Five wrong passwords for a name from one address close it for a quarter of an hour. The pair is what is counted: by
# name alone, anybody could lock an admin out.
AXES_FAILURE_LIMIT = 5
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "tasks_app.api.problems.locked_out"
AXES_DISABLE_ACCESS_LOG = True  # the audit has it
AXES_VERBOSE = False
KNOX_TOKEN_MODEL = "tasks_app.ApiToken"
REST_KNOX = {"AUTH_HEADER_PREFIX": "Bearer", "TOKEN_PREFIX": "lsp_"}
MIGRATION_MODULES = {"knox": None}  # its only table is replaced by ours
CSRF_FAILURE_VIEW = "tasks_app.api.problems.csrf_failed"
LOGIN_URL = "/login"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = STATE_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
FRONTEND_DIST = BASE_DIR / "frontend" / "dist"
STATICFILES_DIRS = [FRONTEND_DIST] if FRONTEND_DIST.is_dir() else []
# Vite puts a content hash into the names of its files; the admin's few may be fetched again after an hour.
WHITENOISE_MAX_AGE = 3600
WHITENOISE_USE_FINDERS = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "tasks_app.tokens.Bearer",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["tasks_app.api.permissions.ByRole"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "tasks_app.api.paging.Pages",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "tasks_app.api.problems.handle",
    # By address, whatever the name; the lock-out above is by name and address.
    "DEFAULT_THROTTLE_RATES": {"login": "60/min"},
    "NUM_PROXIES": 0,  # the server in front of Django has put the client's address into REMOTE_ADDR
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Live stock platform",
    "DESCRIPTION": "Start, stop and watch the tasks of a live stock platform. docs/protocol.md says more in words.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": ["tasks_app.api.schema.document_problems"],
    "ENUM_NAME_OVERRIDES": {
        "KindEnum": "tasks_app.models.KIND_CHOICES",
        "StatusEnum": "tasks_app.models.STATUS_CHOICES",
    },
}

CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# No blocking publisher when Redis is down: the janitor sends again what was not taken.
CELERY_BROKER_TRANSPORT_OPTIONS = {"max_retries": 1, "interval_start": 0, "global_keyprefix": "celery:"}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
# A task runs for days: acknowledged early, so that a visibility time-out can't start it a second time.
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_DEFAULT_QUEUE = "control"
CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_SEND_TASK_EVENTS = False

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {name: {"level": "WARNING"} for name in ("uvicorn.access", "py4j", "httpx")},  # a line for each call
}
