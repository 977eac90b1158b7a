"""The page reaches for nothing, and what the files of a run hold is neither executed nor imported."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from tests.evaluation.report.pages import Element
from zoo.errors import UsageError


def test_nothing_in_the_page_names_an_address(together):
    page = together

    def attributes(element: Element) -> list[tuple[str, str]]:
        own = [(name, value or "") for name, value in element.attributes.items()]
        return own + [pair for child in element.children for pair in attributes(child)]

    for name, value in attributes(page.root):
        if name in ("src", "href", "action", "data", "srcset", "poster", "xlink:href"):
            assert value.startswith(("data:", "#")), (name, value)
        assert not name.startswith("on")  # no script in an attribute
    for code in (page.root.one("style").text, page.root.all("script")[-1].text):
        assert not re.search(r"url\(|@import|https?:|fetch\(|XMLHttp|import\(|src\s*=", code)


def test_the_policy_allows_this_style_and_this_script_and_pictures_within(alone):
    page = alone

    policies = [m.attributes["content"] for m in page.root.all("meta") if "http-equiv" in m.attributes]
    allowed = dict(part.strip().split(" ", 1) for part in policies[0].split(";"))
    assert allowed["default-src"] == "'none'"
    assert allowed["img-src"] == "data:"
    for directive, element in (("style-src", page.root.one("style")), ("script-src", page.root.all("script")[-1])):
        content = "".join(part for part in element.texts if isinstance(part, str))
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert allowed[directive] == f"'sha256-{digest}'"


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`{{ 7*7 }}"


def test_what_a_runs_files_hold_stays_text(report, copied, ibgan_run):
    run = copied(ibgan_run)
    config = json.loads((run / "config.json").read_text())
    config["made_by"] = {HOSTILE: {"versions": [HOSTILE], HOSTILE: HOSTILE}}
    config["sources"] |= {"steps": HOSTILE, "model.ngf": HOSTILE}
    config["settings"]["trainer"][HOSTILE] = HOSTILE
    config["preset"] = HOSTILE
    (run / "config.json").write_text(json.dumps(config))
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 5, HOSTILE: 1.0, "mi_lower": HOSTILE, "kl": [HOSTILE]}) + "\n")
    result = {"score": 0.9, "protocol": {HOSTILE: HOSTILE}, HOSTILE: 1, "reason": HOSTILE}
    record = {"step": 5, "seed": HOSTILE, "metrics": {HOSTILE: result}, "errors": {HOSTILE: HOSTILE}}
    with (run / "evaluations.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n" + json.dumps(record | {"step": 6}) + "\n")
    hostile_run = run.rename(run.parent / HOSTILE.replace("/", "∕"))

    page = report(hostile_run)

    assert len(page.root.all("script")) == 3  # the values of the sliders, the data of the charts, and the page's own
    assert all(image.attributes["src"].startswith("data:image/webp;base64,") for image in page.root.all("img"))
    assert page.root.text.count("alert(1)") > 10
    assert "{{ 7*7 }}" in page.root.text
    titles = [figure.one("figcaption").text for figure in page.root.all("figure", "chart")]
    assert any("alert(1)" in title for title in titles)


def test_a_name_in_a_file_is_never_imported(report, copied, ibgan_run, tmp_path, monkeypatch):
    (tmp_path / "dangerous.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    run = copied(ibgan_run)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"model": "dangerous:Model", "dataset": "dangerous:data"}))

    page = report(run)

    assert "unknown model 'dangerous:Model'" in page.section("traversals").text


def test_a_dataset_given_by_its_import_path_is_opened_where_a_person_types_it(
    report, copied, ibgan_run, vae_run, tmp_path, monkeypatch
):
    (tmp_path / "own_data.py").write_text("from ibgan_plugin.adapters.dsprites import dsprites as sprites\n")
    monkeypatch.syspath_prepend(tmp_path)
    run = copied(ibgan_run)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"dataset": "own_data:sprites"}))

    (unopened,) = report(run).root.all("p", "remark")
    assert "type the name yourself" in unopened.text

    page = report(run, vae_run, dataset="own_data:sprites")  # the other run's is a registered one
    assert not page.root.all("p", "remark")
    assert [h3.text for h3 in page.section("images").all("h3")][:2] == ["Real: own_data:sprites", "Real: dsprites"]
    assert len(page.section("images").all("img")) == 6

    with pytest.raises(UsageError, match="no run here was trained on 'chairs3d', but on 'own_data:sprites' or 'dspr"):
        report(run, vae_run, dataset="chairs3d")
