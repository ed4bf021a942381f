"""The LSTM: forecaster, network and the fleet that trains many at once; only its backend imports Keras."""
