"""`zoo report`: one run, or several side by side, on one self-contained page.

`reading` takes from a run directory what can be said without its model, `pictures` asks the model, `charts` draws
curves, and `page` puts all of it into `page.html.jinja` with `page.css` and `page.js`.
"""

from ibgan_plugin.evaluation.report.page import write_report

__all__ = ["write_report"]
