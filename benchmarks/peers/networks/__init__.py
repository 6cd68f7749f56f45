"""The peers on whole networks: inference, and steps of training."""
