"""The command `kstore-server`: reads the configuration, runs the broker until SIGTERM or SIGINT."""

import argparse
import sys
from collections.abc import Sequence

from kstore.errors import ConfigError, KstoreError
from kstore.server.config import ServerConfig


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="kstore-server",
        description="A broker that speaks Apache Kafka's protocol over its own log files.",
    )
    parser.add_argument("properties", nargs="?", metavar="server.properties", help="Kafka's configuration file")
    parser.add_argument("--override", action="append", default=[], metavar="KEY=VALUE", help="a key of that file")
    parser.add_argument("--data-dir", metavar="DIR", help="without a file: where the logs are kept")
    parser.add_argument("--port", type=int, default=9092, help="without a file: the port on 127.0.0.1 (0: any)")
    parser.add_argument(
        "--metrics-port",
        type=metrics_address,
        metavar="[HOST:]PORT",
        help="serve /metrics (Prometheus), /healthz and /readyz there; on 127.0.0.1 without a host",
    )
    options = parser.parse_args(arguments)
    if (options.properties is None) == (options.data_dir is None):
        parser.error("give either a server.properties or --data-dir")
    return options


def metrics_address(text: str) -> tuple[str, int]:
    """The host and port that `--metrics-port` names. Raises argparse.ArgumentTypeError."""
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not PORT or HOST:PORT with a port from 0 to 65535")
    return host.strip("[]") or "127.0.0.1", int(port)


def load_config(options: argparse.Namespace) -> ServerConfig:
    if options.properties is not None:
        return ServerConfig.from_file(options.properties, options.override)
    return ServerConfig.from_arguments(options.data_dir, options.port, options.override)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        config = load_config(options)
    except (ConfigError, OSError) as error:
        print(f"kstore-server: {error}", file=sys.stderr)
        return 2
    # What the broker needs is not loaded for a mistyped option.
    from kstore.server.app import run

    try:
        run(config, options.metrics_port)
    except (KstoreError, OSError) as error:
        print(f"kstore-server: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
