"""The doctor: walks every hop to a peer by itself, and says what mends the first that fails."""
