import { createApp } from 'vue'
import App from './App.vue'
import { element } from './element'
import { router } from './router'
import './styles.css'

createApp(App).use(element).use(router).mount('#app')
