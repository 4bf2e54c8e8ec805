"""The screens: home, explore, compare, and the dialogs over them."""
