export { Activity, type ActivityOptions, type ActivityState } from './activity.js';
export { DEFAULT_END_OF_TURN, EndOfTurn, type EndOfTurnOptions } from './decide.js';
export { type Conversation, scanConversation, TurnListener, type TurnState } from './listener.js';
export { DEFAULT_TURN_MODEL, loadTurnModel, TurnModel } from './model.js';
export { TURN_TRACKS, type TurnTrackName, type TurnTracks, turnTrackOf } from './tracks.js';
export {
  SIDES,
  type SideName,
  TURN_HOP,
  TurnDecider,
  type TurnDeciderState,
  type TurnEvent,
  turnEventsOf,
} from './turn-events.js';
