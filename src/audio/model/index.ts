export { SPECTRAL_LEADS, type SpeechCalibration, type SpeechConfig } from './config.js';
export { hiddenStates } from './hidden.js';
export { SpeechListener, type SpeechSession, type SpeechState } from './listener.js';
export { DEFAULT_SPEECH_MODEL, loadSpeechModel, writeSpeechModel } from './load.js';
export { SpeechModel } from './model.js';
export { type Scan, type ScanOptions, scanChannels, scanRecording } from './scan.js';
export { forecastSpectra, type SpectralOutlook } from './spectrum.js';
export { frameAt, LEADS, type SpeechFrame, type SpeechTracks, TRACKS, type TrackName, trackOf } from './tracks.js';
