"""The explorers: what is handed over to the browser, which computes and draws."""
