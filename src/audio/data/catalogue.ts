/**
 * The speech packs: which exist, on what terms, and for what. A pack is one Ogg Opus file of many clips with a `.jsonl`
 * beside it. `permissive` packs (Apache-2.0, CC BY, CC BY-SA) may train weights that are shipped.
 */
export interface PackInfo {
  name: string;
  licence: string;
  permissive: boolean;
  /** Utterances of more than one word, so that pauses inside a clip are pauses of a speaker. */
  sentences: boolean;
}

const CC_BY_SA_3 = 'CC BY-SA 3.0';

export const SPEECH_PACKS: readonly PackInfo[] = [
  { name: 'wakeword', licence: 'Apache-2.0', permissive: true, sentences: false },
  { name: 'speechcmd3', licence: 'CC BY 4.0', permissive: true, sentences: false },
  { name: 'fsdd', licence: 'CC BY-SA 4.0', permissive: true, sentences: false },
  { name: 'asterisk_en', licence: CC_BY_SA_3, permissive: true, sentences: true },
  { name: 'asterisk_es', licence: CC_BY_SA_3, permissive: true, sentences: true },
  { name: 'asterisk_fr', licence: CC_BY_SA_3, permissive: true, sentences: true },
  { name: 'asterisk_it', licence: CC_BY_SA_3, permissive: true, sentences: true },
  { name: 'asterisk_it_menardi', licence: CC_BY_SA_3, permissive: true, sentences: true },
  { name: 'asterisk_ru', licence: CC_BY_SA_3, permissive: true, sentences: true },
  { name: 'asterisk_es_co', licence: 'GPL-2.0-or-later', permissive: false, sentences: true },
  { name: 'fillets_cs', licence: 'GPL-2.0-or-later', permissive: false, sentences: true },
  { name: 'fotaq', licence: 'freeware', permissive: false, sentences: true },
  { name: 'hedgewars', licence: 'GPL-2.0', permissive: false, sentences: false },
  { name: 'ktuberling', licence: 'GPL/LGPL/CC', permissive: false, sentences: false },
];

export interface NoisePackInfo {
  name: string;
  licence: string;
  permissive: boolean;
  kind: 'room' | 'music' | 'effects';
}

export const NOISE_PACKS: readonly NoisePackInfo[] = [
  { name: 'train_room', licence: 'CC BY 4.0', permissive: true, kind: 'room' },
  { name: 'train_music_moh', licence: 'CC BY-SA 3.0', permissive: true, kind: 'music' },
  { name: 'train_fx', licence: 'GPL-2.0-or-later', permissive: false, kind: 'effects' },
];
