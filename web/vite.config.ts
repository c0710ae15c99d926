import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

// The server's content security policy allows nothing inline and nothing from elsewhere, so no
// asset may become a data: address and no script may be written into the page.
export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    cssTarget: ['chrome123', 'firefox121', 'safari17.5'],
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: {
    proxy: { '/api': { target: 'http://127.0.0.1:8471', ws: true } },
  },
  // What is worth a unit test is pure; the screens are tested in a real browser (`npm run e2e`).
  test: { environment: 'node', include: ['src/**/*.test.ts'] },
});
