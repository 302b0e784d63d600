export { DEFAULT_DIR, type Layout, layoutOf } from './layout.ts';
