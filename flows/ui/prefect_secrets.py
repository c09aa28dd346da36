"""The secrets of Prefect's settings: they may be in its profile instead of the environment."""

from colorizer.base.redaction import add_secrets


def add_prefect_secrets() -> None:
    """Have them kept out of what this process prints and logs."""
    # Prefect takes seconds to import
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    add_secrets(settings.api.url)
    for secret in (
        settings.api.key,
        settings.api.auth_string,
        settings.server.api.auth_string,
        settings.server.database.connection_url,
        settings.server.database.password,
    ):
        add_secrets(secret.get_secret_value() if secret else None)
