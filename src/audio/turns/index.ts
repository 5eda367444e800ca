export { Activity, type ActivityOptions } from './activity.js';
export { DEFAULT_END_OF_TURN, EndOfTurn, type EndOfTurnOptions } from './decide.js';
export { DEFAULT_TURN_MODEL, loadTurnModel, TurnModel } from './model.js';
export { scanConversation, type TurnState, TurnStream } from './stream.js';
export { TURN_TRACKS, type TurnTrackName, type TurnTracks, turnTrackOf } from './tracks.js';
