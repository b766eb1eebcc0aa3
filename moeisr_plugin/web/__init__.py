"""`moeisr web`: a local page that enlarges pictures while one zooms into them."""
