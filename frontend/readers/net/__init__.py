"""lava-dl's `.net`: networks in integers."""
