"""What is wrong with a configuration, and what in it has no effect: found before anything is opened.

An open broker where a closed one was asked for is a hole, so a key of security stops the start until kstore
has what it asks for; so does a cluster of more than this broker. All faults of a file are named together,
each with its place, its key and what would be right.
"""

from collections.abc import Sequence

from kstore.errors import InvalidConfigError
from kstore.server.config_keys import (
    CLASS_KEYS,
    broker_key,
    closest_key,
    is_plugin_key,
    reason_for,
    split_listener_prefix,
)
from kstore.server.properties_file import Property

REFUSALS = {
    "authorizer.class.name": "kstore has no authorizer yet; leave it out and guard the broker by other means",
    "ssl": "kstore has no TLS yet; leave it out and keep the listeners PLAINTEXT",
    "sasl": "kstore has no SASL yet; leave it out and keep the listeners PLAINTEXT",
}


def faults_in(properties: Sequence[Property]) -> list[str]:
    """A line for each key that kstore cannot start with, as it stands in file or arguments."""
    providers = [name for entry in properties if entry.key == "config.providers" for name in entry.value.split(",")]
    has_plugin = any(entry.key in CLASS_KEYS and entry.value.strip() for entry in properties)
    faults = []
    for entry in properties:
        fault = _fault_of(entry.key, entry.value, may_be_plugins=has_plugin)
        if any(name.strip() and f"${{{name.strip()}:" in entry.value for name in providers):
            fault = f"{entry.key}: kstore asks no config providers; write the value itself"
        if fault:
            faults.append(f"{entry.origin}: {fault}")
    return faults


def _fault_of(name: str, text: str, *, may_be_plugins: bool) -> str | None:
    if prefixed := split_listener_prefix(name):
        # A mechanism may stand between listener and key: listener.name.x.plain.sasl.jaas.config.
        if ".sasl." in prefixed.name:
            return f"{name}: {REFUSALS['sasl']}"
        fault = _fault_of(prefixed.name, text, may_be_plugins=may_be_plugins)
        return fault and name.removesuffix(prefixed.name) + fault
    key = broker_key(name)
    if key is None:
        return None if is_plugin_key(name) else _unknown(name, may_be_plugins)
    if key.effect == "refused" and (text.strip() or name.startswith(("ssl.", "sasl."))):
        return f"{name}: {REFUSALS.get(name) or REFUSALS[name.partition('.')[0]]}"
    try:
        key.parse(text)
    except InvalidConfigError as error:
        return str(error)
    return None


def _unknown(name: str, may_be_plugins: bool) -> str | None:
    # With a plugin's class configured the key may be the plugin's own, unless it is nearly one of Kafka's.
    closest = closest_key(name, cutoff=0.9 if may_be_plugins else 0.6)
    if may_be_plugins and closest is None:
        return None
    return f"{name}: no Kafka knows this key" + (f"; did you mean {closest}?" if closest else "")


def notes_on(properties: Sequence[Property]) -> list[str]:
    """A line for each key that is set and changes nothing here, with the reason."""
    notes = []
    in_cluster = any(entry.key == "zookeeper.connect" and entry.value.strip() for entry in properties)
    for name in dict.fromkeys(entry.key for entry in properties):
        prefixed = split_listener_prefix(name)
        key = broker_key(prefixed.name if prefixed else name)
        reason = reason_for(key) if key else "it belongs to a plugin, and kstore loads none"
        if in_cluster and key and key.effect == "cluster":
            reason = None
        if prefixed and reason is None and prefixed.name != "max.connections":
            reason = "kstore has this setting for all listeners together"
        if reason:
            notes.append(f"{name} has no effect: {reason}")
    return notes
