"""From a trained model to where people use it: files for other runtimes, and pages that compute by themselves."""
