"""snn-compile: the deployment compiler for pruned spiking networks."""
