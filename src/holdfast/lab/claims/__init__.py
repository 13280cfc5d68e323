"""One file a paper: sentences that can be false, and the experiments that decide them."""
