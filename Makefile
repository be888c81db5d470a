.PHONY: demo test check

demo: ## environment, model, and the recipe smollm2: M0 to M3 on two CPU cores
	@scripts/setup
	@.venv/bin/srlm run smollm2

test: ## environment and all tests but the slow ones
	@scripts/setup dev
	@scripts/test

check: ## what every commit must pass
	@scripts/setup dev
	@scripts/check
