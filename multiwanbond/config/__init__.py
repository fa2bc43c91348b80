"""What the operator may set: the model, the only validation, and the reference made from both."""
