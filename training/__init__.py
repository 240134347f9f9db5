"""Training of evsam models; installed as ``evsam.training``. Needs the extra ``train``."""
