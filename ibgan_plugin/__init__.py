"""IB-GAN and the systems it is compared with, for the zoo."""
