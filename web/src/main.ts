import './tokens.css';
import './base.css';

import { mount } from 'svelte';

import App from './App.svelte';
import { clock } from './clock.svelte';
import { router } from './router.svelte';
import { session } from './session.svelte';

clock.start();
router.start();
void session.start();

const target = document.getElementById('app');
if (target) mount(App, { target });
