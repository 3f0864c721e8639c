"""Environments of PureRL: the author contract of gymnax, without gymnax's import time."""


def register_gymnax() -> None:
    """Makes `gymnax.make("Bikkle-v0", **fields of Bikkle)` work; imports gymnax, and may be called again."""
    # gymnax pulls in plotting libraries and takes seconds to import.
    from envs.bikkle.gymnax_adapter import register  # noqa: PLC0415

    register()
