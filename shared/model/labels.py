"""The two classes, in the order of every logit and probability in this product."""

LABELS = ("no_scratches", "scratches")
NO_SCRATCHES, SCRATCHES = range(2)
