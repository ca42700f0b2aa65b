"""What only ZooKeeper tells of brokers: the epoch of each one's registration, which no client is told."""

from kstore.cli.errors import CommandError


def broker_epochs(connect: str, timeout: float) -> dict[int, int]:
    """The brokers that are registered, with their epochs. Nothing is written. Raises CommandError."""
    import asyncio
    import logging

    from kstore.errors import KstoreError

    # What goes wrong is said once, in our words.
    kazoo = logging.getLogger("kazoo")
    kazoo.addHandler(logging.NullHandler())
    kazoo.propagate = False
    try:
        return asyncio.run(_read(connect, int(timeout * 1000)))
    except (KstoreError, OSError) as error:
        raise CommandError(str(error).replace("zookeeper.connect", "--zookeeper")) from None


async def _read(connect: str, timeout_ms: int) -> dict[int, int]:
    import asyncio

    from kstore.cluster.zk.session import Session
    from kstore.cluster.zk.store import ClusterStore

    session = Session(
        connect,
        loop=asyncio.get_running_loop(),
        timeout_ms=timeout_ms,
        connection_timeout_ms=timeout_ms,
        changed=lambda _: None,
    )
    try:
        await session.start(makes_chroot=False)
        return {broker.id: broker.epoch for broker in (await ClusterStore(session).brokers()).values()}
    finally:
        await session.close()
