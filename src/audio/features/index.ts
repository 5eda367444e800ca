export * from './extractor.js';
export { LevelNormaliser } from './level.js';
export { hzToMel, MelBank, melToHz } from './mel.js';
export { FFT_BINS, FFT_SIZE, PowerSpectrum } from './real-fft.js';
