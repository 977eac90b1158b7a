"""The seven systems of the paper's tables, by the names they are registered under."""

from __future__ import annotations

ADVERSARIAL = ("gan", "infogan", "ibgan")
VAES = ("vae", "beta_vae", "factor_vae", "beta_tcvae")
SYSTEMS = (*ADVERSARIAL, *VAES)
