"""What a run leaves behind: its folder, its table, its TensorBoard events, its figure."""
