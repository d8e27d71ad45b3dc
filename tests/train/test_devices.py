"""What is set up before jax is used."""

import importlib.machinery

import jax
import pytest

from slimjax.train import devices


def make_device(folder, vendor: str, kind: str) -> None:
    folder.mkdir()
    (folder / "vendor").write_text(f"{vendor}\n")
    (folder / "class").write_text(f"{kind}\n")


def test_a_tpu_is_a_device_of_its_vendor_that_is_no_network_card(tmp_path):
    make_device(tmp_path / "0", "0x8086", "0x120000")
    make_device(tmp_path / "1", devices.TPU_VENDOR, "0x020000")
    (tmp_path / "2").mkdir()
    assert not devices.has_tpu(tmp_path)
    make_device(tmp_path / "3", devices.TPU_VENDOR, "0x120000")
    assert devices.has_tpu(tmp_path)
    assert not devices.has_tpu(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("installed", "platforms", "has_tpu", "chosen"),
    [
        (("libtpu",), None, False, "cpu"),
        (("libtpu",), None, True, None),
        (("libtpu", "jax_plugins"), None, False, None),
        ((), None, False, None),
        (("libtpu",), "tpu", False, None),
    ],
)
def test_libtpu_is_left_out_where_it_is_of_no_use(
    monkeypatch, installed, platforms, has_tpu, chosen
):
    def find(name: str):
        return importlib.machinery.ModuleSpec(name, None) if name in installed else None

    chosen_now = []
    monkeypatch.setattr("importlib.util.find_spec", find)
    monkeypatch.setattr(devices, "has_tpu", lambda: has_tpu)
    monkeypatch.setattr(jax.config, "update", lambda _, to: chosen_now.append(to))
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    if platforms:
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
    devices.leave_out_libtpu()
    assert chosen_now == ([chosen] if chosen else [])
