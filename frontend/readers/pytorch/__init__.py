"""Files of `torch.save`: our checkpoint, and modules and state dicts of other frameworks; nothing is executed."""
