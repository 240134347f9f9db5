"""What a model scores on annotated photos: metrics on masks, simulated prompts, and the tables made of them.

Everything here works on a :class:`evsam.Sam` of any engine; nothing needs PyTorch. Average precision needs the extra
``eval``.
"""
