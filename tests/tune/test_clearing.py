"""What is freed after runs."""

from slimjax.tune.clearing import RUNS_BETWEEN, Clearing


def test_programs_are_dropped_now_and_then(monkeypatch):
    called = []
    monkeypatch.setattr("jax.clear_caches", lambda: called.append("programs"))
    monkeypatch.setattr("gc.collect", lambda: called.append("arrays"))
    clear = Clearing()
    for _ in range(2 * RUNS_BETWEEN):
        clear()
    assert called.count("arrays") == 2 * RUNS_BETWEEN
    assert called.count("programs") == 2
    assert called[RUNS_BETWEEN - 1 : RUNS_BETWEEN + 1] == ["programs", "arrays"]
