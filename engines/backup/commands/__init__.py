"""One file a verb of `crashcart backup`: its parameters, its plan, its run or its answer."""
