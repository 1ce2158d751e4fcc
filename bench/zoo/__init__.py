"""The model zoo: backbones, their weights, heads, freeze strategies and augmentation."""
