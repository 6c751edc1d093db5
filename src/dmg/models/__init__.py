"""Networks, process models, losses, and how they are coupled."""
