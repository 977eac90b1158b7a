"""VAE, beta-VAE, FactorVAE and beta-TCVAE: one model, four losses."""
