"""Shows the fair price to people and programs: a web page, JSON and a websocket over what the broker carries."""
