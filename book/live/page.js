window.whiteBear.model = new Model();
