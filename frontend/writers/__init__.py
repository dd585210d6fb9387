"""Writers: networks and programs in the formats of other tools."""
