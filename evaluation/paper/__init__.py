"""The sweeps behind the IB-GAN paper's tables and figures, as shipped specifications, and what is made of their runs.

Jeon, Lee, Pyeon, Kim: "IB-GAN: Disentangled Representation Learning with Information Bottleneck Generative Adversarial
Networks", AAAI 2021.
"""
