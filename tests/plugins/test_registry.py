"""Which plugins a configuration may have, and what is said of those it may not."""

import subprocess
import sys
from pathlib import Path

import pytest

from multiwanbond.config.load import load_bytes
from multiwanbond.config.model import Configuration
from multiwanbond.core.datagram import Address
from multiwanbond.errors import ConfigFileError
from multiwanbond.plugins import registry
from multiwanbond.plugins.builtin import prometheus

EXAMPLE = Path(__file__).parents[2] / "examples" / "mwb-example-plugin"


def read(text: str) -> Configuration:
    return load_bytes(text.encode(), Path("test.yaml"))


def refusal(text: str) -> str:
    with pytest.raises(ConfigFileError) as caught:
        registry.wanted(read(text))
    return str(caught.value)


def test_the_built_in_plugins_are_found_like_all_others() -> None:
    assert {"acl", "prometheus", "webhook", "email"} <= registry.installed().keys()
    for point in registry.installed().values():
        assert registry.kinds_of(registry.load_class(point))


def test_a_plugin_gets_its_own_settings() -> None:
    (found,) = registry.wanted(
        read("plugins: [{name: prometheus, options: {listen: '[::1]:9500', interval: 2s}}]")
    )

    assert found.plugin is prometheus.Prometheus
    assert found.options == prometheus.Options(listen=Address("::1", 9500), interval=2.0)


def test_the_same_plugin_twice_has_two_labels_and_a_disabled_one_none() -> None:
    hook = "options: {url: https://example.net}"
    text = f"plugins: [{{name: webhook, {hook}}}, {{name: acl, enabled: false}}, "

    found = registry.wanted(read(f"{text}{{name: webhook, {hook}}}]"))

    assert [each.label for each in found] == ["webhook", "webhook 2"]


def test_what_says_the_same_elsewhere_in_the_file_is_the_same() -> None:
    one = registry.wanted(read("plugins: [{name: acl, options: {default: deny}}]"))
    other = registry.wanted(read("\n\nplugins:\n  - name: acl\n    options: {default: deny}"))

    assert one == other


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{name: promotheus}", "test.yaml:1:18: plugins[0].name: there is no plugin 'promotheus'. "
         "Did you mean 'prometheus'?"),
        ("{name: acl, options: {default: perhaps}}",
         "test.yaml:1:42: plugins[0].options.default: "),
        ("{name: acl, options: {rules: [{action: deny, ports: [1]}]}}",
         "plugins[0].options.rules[0].ports: unknown key"),
        ("{name: acl, options: {defalt: deny}}", "Did you mean 'default'?"),
        ("{name: webhook}", "plugins[0].options: url is missing. Add it: Where alerts"),
        ("{name: webhook, options: {url: example.net}}", "'example.net' is no URL"),
        ("{name: email, options: {server: 'a:25', sender: me, recipients: [a@b]}}",
         "'me' is no mail address"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(entry: str, expected: str) -> None:
    assert expected in refusal(f"plugins: [{entry}]")


def test_everything_that_is_wrong_is_said_at_once() -> None:
    text = refusal("plugins: [{name: nothing}, {name: acl, options: {x: 1}}, {name: webhook}]")

    assert len(text.splitlines()) == 3


def test_the_example_package_can_be_installed_and_its_plugins_run(tmp_path: Path) -> None:
    """As its README says; offline, and into a place of its own."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    options = ["--no-build-isolation", "--target", str(tmp_path), str(EXAMPLE)]
    subprocess.run([*command, *options], check=True, timeout=120)
    program = """
import trio
from multiwanbond.config.load import load_bytes
from multiwanbond.core.burst import Burst
from multiwanbond.plugins import registry
from multiwanbond.plugins.host import PluginHost
text = b"plugins: [{name: stamp, options: {dscp: EF}}, {name: sizes, options: {file: %s}}]"
wanted = registry.wanted(load_bytes(text % FILE.encode()))
async def main():
    host = PluginHost(tunnel="mwb0", log=print, status=lambda: {"peers": []})
    async with trio.open_nursery() as nursery:
        await nursery.start(host.run)
        host.use(wanted)
        (kept,) = host.filters.outbound([Burst(PACKET)])
        await trio.sleep(0.2)
        print([each.failure for each in host.statuses()], kept.packet[1] >> 2)
        nursery.cancel_scope.cancel()
trio.run(main)
"""
    head = bytes([0x45, 0, 0, 28]) + bytes(5) + bytes([17]) + bytes(18)
    file = tmp_path / "sizes.csv"
    done = subprocess.run(
        [sys.executable, "-c", f"FILE, PACKET = {str(file)!r}, {head!r}\n{program}"],
        env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout.splitlines()[-1] == "[None, None] 46", done.stdout + done.stderr
    assert file.read_text().count("\n") == 1
