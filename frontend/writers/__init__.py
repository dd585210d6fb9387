"""Writers of what was compiled, for other tools: NIR in float, lava-dl's `.net` in integers."""
