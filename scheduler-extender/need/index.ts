export { LOCALITIES, type Locality, type MadeVolume, type Need, type Reading, type WantedVolume } from './need.ts';
export { type NeedRules, needOf, wantedVolume } from './need-of.ts';
