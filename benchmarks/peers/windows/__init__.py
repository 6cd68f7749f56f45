"""Peers on poolings and local layers."""
